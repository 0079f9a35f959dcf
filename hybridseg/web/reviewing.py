"""The routes of the review page: two results of each image, and what is decided about them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flask import Flask, Response

from hybridseg.labelling.decisions import LIST_NAME
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.judging import Judging
from hybridseg.labelling.review import ReviewSession
from hybridseg.web.app import create_app, create_label_app, list_classes, send_picture
from hybridseg.web.gate import Gate


def create_review_app(judging: Judging, jobs: JobRunner, gate: Gate) -> Flask:
    """Return the application of the review page, and of the labelling page on the same images."""
    app = create_label_app(judging.session, jobs, gate, page="review.html")
    _add_views(app, judging.review, judging)

    @app.post("/api/review/<image_id>/<any(accept, reject, mend, back):act>")
    def decide(image_id: str, act: str) -> dict[str, Any]:
        acts = {
            "accept": judging.accept, "reject": judging.reject, "mend": judging.mend, "back": judging.take_back,
        }  # fmt: skip
        acts[act](image_id)
        return _describe(judging.review, judging)

    @app.get("/api/review/list")
    def export_list() -> Response:
        response = Response(judging.export(), mimetype="text/csv")
        response.headers["X-File-Name"] = quote(LIST_NAME)
        return response

    return app


def create_comparison_app(review: ReviewSession, gate: Gate) -> Flask:
    """Return the application of the review page on the results of two people or runs, which only shows them."""
    app = create_app(gate, page="review.html")
    _add_views(app, review, None)
    return app


def _add_views(app: Flask, review: ReviewSession, judging: Judging | None) -> None:
    @app.get("/api/review")
    def get_review() -> dict[str, Any]:
        return _describe(review, judging)

    @app.get("/api/review/<image_id>")
    def get_confusions(image_id: str) -> dict[str, Any]:
        return {"confusion": review.list_confusions(image_id)}

    @app.get(
        "/api/review/<image_id>/<any(picture, manual, automatic, disagreement):layer>/<int:level>/<int:row>/<int:col>"
    )
    def send_layer(image_id: str, layer: str, level: int, row: int, col: int) -> Response:
        return send_picture(review.draw_tile(image_id, layer, (level, row, col)), lasting=layer == "picture")


def _describe(review: ReviewSession, judging: Judging | None) -> dict[str, Any]:
    return {
        "items": review.list_items() if judging is None else judging.list_items(),
        "classes": list_classes(review.table),
        "sides": review.sides,
        "judged": judging is not None,
        "skipped": [str(problem) for problem in review.problems],
    }
