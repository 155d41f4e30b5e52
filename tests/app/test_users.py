"""The routes of users."""

from uuid import uuid4

from tests.services import Service


def test_there_are_200_users(api: Service) -> None:
    """A service that is ready has 200 users with ids from 1."""
    page = api.client.get("/users", params={"limit": 100, "offset": 100}).json()

    assert list(range(101, 201)) == [user["id"] for user in page["items"]]
    assert page["total"] >= 200
    assert (100, 100) == (page["limit"], page["offset"])


def test_a_user_is_created_once(api: Service) -> None:
    """The new user is found at its location, and a second one with the same email is refused."""
    new = {"email": f" {uuid4().hex}@Example.com", "name": "User"}
    created = api.client.post("/users", json=new)
    again = api.client.post("/users", json=new)
    found = api.client.get(created.headers["location"])

    assert (201, 409, 200) == (created.status_code, again.status_code, found.status_code)
    assert created.json() == found.json()
    assert new["email"].strip().lower() == found.json()["email"]
    assert found.json()["created_at"].endswith("Z")


def test_problems_are_rfc_9457_with_the_trace_id(api: Service) -> None:
    """All error responses have the same form; they contain the trace id and no internals."""
    responses = {
        404: api.client.get("/users/100000"),
        405: api.client.put("/users/1"),
        409: api.client.post("/users", json={"email": "user1@example.com", "name": "User"}),
        422: api.client.post("/users", json={"email": "hunter2", "name": ""}),
    }

    for status, response in responses.items():
        problem = response.json()
        assert "application/problem+json" == response.headers["content-type"]
        assert (status, status, response.headers["x-trace-id"]) == (
            response.status_code, problem["status"], problem["trace_id"],
        )  # fmt: skip
        assert {"type", "title"} <= problem.keys()
        assert "hunter2" not in response.text
    assert "GET" == responses[405].headers["allow"]
    assert ["body", "email"] == responses[422].json()["errors"][0]["loc"]


def test_the_size_of_a_page(api: Service) -> None:
    """A page has 20 users by default and 100 at most."""
    assert 20 == len(api.client.get("/users").json()["items"])
    assert 422 == api.client.get("/users", params={"limit": 101}).status_code
    assert [] == api.client.get("/users", params={"offset": 1_000_000}).json()["items"]
