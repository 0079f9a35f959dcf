"""HTTP of the two pages, labelling and review: the gate, the routes, the server and the static files."""
