"""Talk2DINO on DINOv3 ViT-B, from the authors' file of the whole model on the Hub.

Backbone, text encoder and projection are in one file, so DINOv3's own is not asked for.
The DINOv3 License covers its backbone all the same.
"""

_base_ = ['talk2dino_dinov3-b16.py']

load_from = 'hf://lorebianchi98/Talk2DINOv3-ViTB/model.safetensors'
train_overrides = {'coco-captions': dict(load_from=None)}
