"""What `--by` may be, in words: listed without importing what computes it."""

TRAINING_FREE = {
    "expressivity": "AZ-NAS: entropy of the blocks' features on noise",
    "fisher": "squared gradient times activation, over channels",
    "grad_norm": "norms of the loss's gradient, over layers",
    "grasp": "weights' effect on the gradient flow (Hessian-gradient product)",
    "jacob_cov": "how differently the network reacts to changes of each image",
    "logsynflow": "synflow with the logarithm of each gradient",
    "meco": "MeCo: least eigenvalue of channels' correlation, over layers, on noise",
    "naswot": "how well activation patterns tell images apart",
    "near": "NEAR: effective ranks before and after activations, over layers",
    "progressivity": "AZ-NAS: least growth of entropy from block to block",
    "snip": "gradient times weight, over weights",
    "swap": "SWAP: number of different patterns of units over 16 images",
    "synflow": "sum over paths of the product of absolute weights, without data",
    "trainability": "AZ-NAS: how well blocks keep the scale of gradients",
    "vkdnw": "VKDNW: layers, and how even the Fisher information on them is",
    "zico": "gradients' mean against their spread between two halves of the batch",
    "az_nas": "AZ-NAS: expressivity, progressivity, trainability and FLOPs, combined by rank",
    "vkdnw_agg": "VKDNW with jacob_cov, expressivity, trainability and FLOPs, combined by rank",
}
ESTIMATORS = {
    "auto": "train on random images, with AZ-NAS, naswot and logsynflow, combined by rank",
    "full": "train on the full training set (full:epochs=2 is early stopping)",
    "PROXY.safetensors": "train on a proxy set",
    "table:FILE:COLUMN": "look it up in a CSV file (.gz too), by its column arch",
    "FILE.py:FUNCTION": "call a function of your own with (network, data, seed)",
    "params": "number of parameters",
    "flops": "multiply-accumulates of one image",
    "latency": "milliseconds an image of the network as it is built, here",
    **TRAINING_FREE,
}
