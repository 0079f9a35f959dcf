"""A dense conditional random field: what is known of some pixels is carried to all, along colour and nearness."""
