"""`make prove-stack`: the whole stack in containers, while its parts are killed, frozen, flooded and asked too much."""
