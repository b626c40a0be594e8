"""What a trained model becomes for serving."""

from interactrank.serving.item_embeddings import export_items

__all__ = ["export_items"]
