"""Runs the original PyTorch networks with the weights of formula.py and records what they compute.

    pip install torch==2.15.0 torchvision==0.29.2 timm==1.0.31 pytorch-fid==0.3.0
    pip install --no-deps facenet-pytorch==2.6.0
    python reference/published_torch.py                              # crates/inception/src/weights/recorded/*.json
    python reference/published_torch.py --save DIR                   # files as the framework writes them
    python reference/published_torch.py --save DIR --pictures DIR2   # also logits of real pictures, its own preprocessing
"""
import argparse
import json
import pathlib
import unittest.mock

import numpy as np
import torch
import torchvision
import timm
from PIL import Image

import formula

OUT = pathlib.Path(__file__).parent.parent / "crates/inception/src/weights/recorded"


def torchvision_v3():
    net = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=False)
    to_tensor = torchvision.transforms.Compose([
        torchvision.transforms.Resize(342),
        torchvision.transforms.CenterCrop(299),
        torchvision.transforms.ToTensor(),
        torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])

    def transform(picture):
        x = to_tensor(picture)
        # What the network does first when it is built for its published weights.
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return x * (std / 0.5)[:, None, None] + ((mean - 0.5) / 0.5)[:, None, None]

    return net, transform


def timm_net(name):
    net = timm.create_model(name, pretrained=False)
    config = timm.data.resolve_data_config({}, model=net)
    return net, timm.data.create_transform(**config)


def facenet():
    from facenet_pytorch import InceptionResnetV1

    net = InceptionResnetV1(pretrained=None, classify=False)
    def transform(picture):
        x = np.asarray(picture.resize((160, 160), Image.BILINEAR), np.float32)
        return torch.from_numpy((x - 127.5) / 128.0).permute(2, 0, 1)
    return net, transform


def fid():
    from pytorch_fid import inception

    with unittest.mock.patch.object(inception, "load_state_dict_from_url", lambda *a, **k: None), \
         unittest.mock.patch.object(torch.nn.Module, "load_state_dict", lambda *a, **k: None):
        net = inception.fid_inception_v3()
    def transform(picture):
        x = torchvision.transforms.functional.to_tensor(picture)[None]
        x = torch.nn.functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False)
        return 2 * x[0] - 1
    return net, transform


# Source: constructor, side, prefixes of modules that are endpoints, canonical name of a module.
def v3_name(module):
    return {"Conv2d": "conv", "Mixed": "mixed"}[module.split("_")[0]] + "_" + module.split("_")[1]


V4 = ["conv_1a", "conv_2a", "conv_2b", "mixed_3a", "mixed_4a", "mixed_5a"] + \
    [f"mixed_5{c}" for c in "bcde"] + [f"mixed_6{c}" for c in "abcdefgh"] + [f"mixed_7{c}" for c in "abcd"]


def residual_name(first, last):
    def name(module):
        head, _, number = module.partition(".")
        kinds = {f"repeat{'_' + str(first) if first else ''}": "block35", f"repeat_{first + 1}": "block17",
                 f"repeat_{first + 2}": "block8"}
        if head in kinds:
            return f"{kinds[head]}_{int(number) + 1}"
        return {"block8": f"block8_{last}"}.get(head, head.replace("conv2d", "conv"))
    return name


SOURCES = {
    "torchvision-v3": (torchvision_v3, 299, v3_name),
    "timm-v3": (lambda: timm_net("inception_v3"), 299, v3_name),
    "timm-v4": (lambda: timm_net("inception_v4"), 299, lambda m: V4[int(m.split(".")[1])]),
    "timm-resnet-v2": (lambda: timm_net("inception_resnet_v2"), 299, residual_name(0, 10)),
    "facenet-pytorch": (facenet, 160, residual_name(1, 6)),
    "pytorch-fid": (fid, 299, v3_name),
}


def is_endpoint(source, module):
    if source.endswith("v4"):
        return module.startswith("features.") and module.count(".") == 1
    if source.endswith("v3") or source.endswith("fid"):
        return module.count(".") == 0 and module.startswith(("Conv2d", "Mixed"))
    return (module.count(".") == 1 and module.startswith("repeat")) or \
        (module.count(".") == 0 and module.startswith(("conv2d", "mixed", "block8")))


def fill(net, seed):
    state = net.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        else:
            tensor.copy_(torch.from_numpy(formula.weight(name, tuple(tensor.shape), seed)))
    torch.nn.Module.load_state_dict(net, state)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--only")
    args.add_argument("--seed", type=int, default=0)
    args.add_argument("--save", type=pathlib.Path)
    args.add_argument("--pictures", type=pathlib.Path)
    args = args.parse_args()
    torch.set_grad_enabled(False)
    for source, (make, side, canonical) in SOURCES.items():
        if args.only and args.only != source:
            continue
        net, transform = make()
        net.eval()
        fill(net, args.seed)
        if args.save:
            args.save.mkdir(parents=True, exist_ok=True)
            torch.save(net.state_dict(), args.save / f"{source}.pth")
            torch.save(net.state_dict(), args.save / f"{source}.legacy.pth", _use_new_zipfile_serialization=False)
            if args.pictures:
                with open(args.save / f"{source}.jsonl", "w") as out:
                    for path in sorted(args.pictures.iterdir()):
                        x = transform(Image.open(path).convert("RGB"))
                        logits = net(x[None])[0].numpy()
                        np.save(args.save / f"{source}.{path.name}.npy", x.permute(1, 2, 0).numpy())
                        out.write(json.dumps({"filename": path.name, "logits": [float(v) for v in logits]}) + "\n")
            continue
        if source == "timm-v3":
            continue  # torchvision's network under torchvision's names
        found = {}
        for name, module in net.named_modules():
            if is_endpoint(source, name):
                hook = lambda m, i, o, name=name: found.__setitem__(canonical(name), o[0].permute(1, 2, 0).numpy())
                module.register_forward_hook(hook)
        x = torch.from_numpy(formula.network_input(side, args.seed)).permute(2, 0, 1)[None]
        logits = net(x)[0].numpy()
        record = {
            "framework": f"PyTorch {torch.__version__.split('+')[0]}, {source}",
            "img_size": side,
            "endpoints": {name: formula.sample(value) for name, value in found.items()},
            "logits": [float(v) for v in logits],
        }
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / f"{source}.json").write_text(json.dumps(record) + "\n")
        print(source, len(record["endpoints"]), logits.shape, logits.std(), [round(e["rms"], 3) for e in record["endpoints"].values()])


main()
