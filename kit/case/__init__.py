"""Cases: where they live, how a capture is judged, and what a notebook or a person sees of them."""
