"""How the project is deployed elsewhere than on one machine."""
