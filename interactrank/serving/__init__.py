"""What a trained model becomes for serving."""

from interactrank.serving.item_embeddings import ItemEmbeddingsError, export_items, read_items

__all__ = ["ItemEmbeddingsError", "export_items", "read_items"]
