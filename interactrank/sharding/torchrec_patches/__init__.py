"""Workarounds of TorchRec, FBGEMM and gloo, one file each."""
