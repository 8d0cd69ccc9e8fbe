"""Hopper played by an exported policy, with onnxruntime alone: no torch, no misodice.

misodice export --ckpt_path runs/mamujoco_hopper/misodice/seed_0/policy/last.ckpt --output hopper.onnx
python examples/act_with_onnx.py hopper.onnx
"""

import sys

import numpy as np
import onnxruntime
from gymnasium_robotics import mamujoco_v1

policy = onnxruntime.InferenceSession(sys.argv[1])
env = mamujoco_v1.parallel_env("Hopper", "3x1", 0)
env.reset(seed=0)
total, steps = 0.0, 0
while env.agents:
    # The paper's observation: the whole state and one's own id, standardised over its own entries.
    rows = np.concatenate([np.tile(env.state(), (3, 1)), np.eye(3)], axis=1)
    rows = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    inputs = {"observation": rows.astype(np.float32), "agent_id": np.arange(3)}
    action, mean, standard_deviation = policy.run(None, inputs)
    _, rewards, _, _, _ = env.step(dict(zip(env.agents, action, strict=True)))
    total, steps = total + rewards["agent_0"], steps + 1
print(f"return {total:.4f} in {steps} steps")
