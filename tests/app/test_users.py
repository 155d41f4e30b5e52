"""Users, as clients see them."""

from uuid import uuid4

from tests.services import Service


def test_there_are_200_users(api: Service) -> None:
    """The tables are there and seeded when the service is ready; ids begin at 1."""
    page = api.client.get("/users", params={"limit": 100, "offset": 100}).json()

    assert list(range(101, 201)) == [user["id"] for user in page["items"]]
    assert page["total"] >= 200
    assert (100, 100) == (page["limit"], page["offset"])


def test_a_user_is_created_once(api: Service) -> None:
    """Created, found at its location, and not created again under the same address."""
    new = {"email": f" {uuid4().hex}@Example.com", "name": "User"}
    created = api.client.post("/users", json=new)
    again = api.client.post("/users", json=new)
    found = api.client.get(created.headers["location"])

    assert (201, 409, 200) == (created.status_code, again.status_code, found.status_code)
    assert created.json() == found.json()
    assert new["email"].strip().lower() == found.json()["email"]
    assert found.json()["created_at"].endswith("Z")


def test_problems_are_rfc_9457_with_the_trace_id(api: Service) -> None:
    """Whatever is wrong, the answer is of one form, says what to look for, and shows no internals."""
    wrong = {
        404: api.client.get("/users/100000"),
        405: api.client.put("/users/1"),
        409: api.client.post("/users", json={"email": "user1@example.com", "name": "User"}),
        422: api.client.post("/users", json={"email": "hunter2", "name": ""}),
    }

    for status, response in wrong.items():
        problem = response.json()
        assert "application/problem+json" == response.headers["content-type"]
        assert (status, status, response.headers["x-trace-id"]) == (
            response.status_code, problem["status"], problem["trace_id"],
        )  # fmt: skip
        assert {"type", "title"} <= problem.keys()
        assert "hunter2" not in response.text
    assert "GET" == wrong[405].headers["allow"]
    assert ["body", "email"] == wrong[422].json()["errors"][0]["loc"]


def test_limits_of_a_page(api: Service) -> None:
    """A page is 20 users unless another number is asked for, and never more than 100."""
    assert 20 == len(api.client.get("/users").json()["items"])
    assert 422 == api.client.get("/users", params={"limit": 101}).status_code
    assert [] == api.client.get("/users", params={"offset": 1_000_000}).json()["items"]
