"""`make prove-stack`: the whole stack in containers, while parts of it are killed, frozen and flooded."""
