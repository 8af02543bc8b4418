"""A ViT or DeiT checkpoint under timm's names as a float ONNX graph, for compare_runtimes.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

HEAD_DIM = 64
OPSET = 17


class Graph:
    """ONNX nodes and constants in the making; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def linear(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        product = self.op("MatMul", x, self.constant(weight.T))
        return self.op("Add", product, self.constant(bias))

    def norm(self, x: str, gamma: np.ndarray, beta: np.ndarray) -> str:
        scale, shift = self.constant(gamma), self.constant(beta)
        return self.op("LayerNormalization", x, scale, shift, epsilon=1e-6, axis=-1)

    def gelu(self, x: str) -> str:
        """0.5 x (1 + erf(x / sqrt 2)), the pattern that the runtimes fuse."""
        erf = self.op("Erf", self.op("Div", x, self.constant(np.float32(np.sqrt(2.0)))))
        gate = self.op("Add", erf, self.constant(np.float32(1.0)))
        return self.op("Mul", self.op("Mul", x, gate), self.constant(np.float32(0.5)))


def build(checkpoint: Path) -> onnx.ModelProto:
    """The network with input `image` float32 (1, 3, S, S) and output `logits` (1, classes)."""
    w = load_file(checkpoint)
    g = Graph()
    width = w["patch_embed.proj.weight"].shape[0]
    tokens = w["pos_embed"].shape[1]
    side = round((tokens - 1) ** 0.5)
    heads = width // HEAD_DIM
    ints = lambda *v: g.constant(np.array(v, np.int64))  # noqa: E731

    kernel = g.constant(w["patch_embed.proj.weight"])
    patches = g.op(
        "Conv", "image", kernel, g.constant(w["patch_embed.proj.bias"]), strides=[16, 16]
    )
    flat = g.op("Reshape", patches, ints(1, width, side * side))
    x = g.op("Concat", g.constant(w["cls_token"]), g.op("Transpose", flat, perm=[0, 2, 1]), axis=1)
    x = g.op("Add", x, g.constant(w["pos_embed"]))
    depth = sum(name.endswith("norm1.weight") for name in w)
    for i in range(depth):
        p = f"blocks.{i}."
        y = g.norm(x, w[p + "norm1.weight"], w[p + "norm1.bias"])
        y = g.linear(y, w[p + "attn.qkv.weight"], w[p + "attn.qkv.bias"])
        y = g.op("Reshape", y, ints(1, tokens, 3, heads, HEAD_DIM))
        y = g.op("Transpose", y, perm=[2, 0, 3, 1, 4])
        q, k, v = (g.op("Gather", y, g.constant(np.int64(j)), axis=0) for j in range(3))
        q = g.op("Mul", q, g.constant(np.float32(HEAD_DIM**-0.5)))
        scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
        y = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
        y = g.op("Reshape", g.op("Transpose", y, perm=[0, 2, 1, 3]), ints(1, tokens, width))
        y = g.linear(y, w[p + "attn.proj.weight"], w[p + "attn.proj.bias"])
        x = g.op("Add", x, y)
        y = g.norm(x, w[p + "norm2.weight"], w[p + "norm2.bias"])
        y = g.gelu(g.linear(y, w[p + "mlp.fc1.weight"], w[p + "mlp.fc1.bias"]))
        y = g.linear(y, w[p + "mlp.fc2.weight"], w[p + "mlp.fc2.bias"])
        x = g.op("Add", x, y)
    x = g.norm(x, w["norm.weight"], w["norm.bias"])
    cls = g.op("Gather", x, g.constant(np.int64(0)), axis=1)
    logits = g.linear(cls, w["head.weight"], w["head.bias"])
    g.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    size = side * 16
    graph = helper.make_graph(
        g.nodes,
        "vit",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, w["head.bias"].size])],
        g.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model
