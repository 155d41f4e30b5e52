"""The files of the example project. Its tests copy them next to a copy of the folder `observability`."""
