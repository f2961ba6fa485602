/** The registry: names of weights, where they come from, and what is published about them. */

export interface RemoteFile {
  readonly url: string;
  /** All digits, or the first eight, where the source publishes them. @default none */
  readonly sha256?: string;
}

interface EntryFacts {
  readonly name: string;
  readonly what: string;
  /** SPDX identifier, or the licence's own name. */
  readonly licence: string;
  /** Parameters in millions, as published. */
  readonly millions?: number;
  /** Whether a licence must be accepted on the page of the repository. @default false */
  readonly gated?: boolean;
}

export type WeightEntry = EntryFacts &
  (
    | { readonly repository: string; readonly files?: readonly string[] }
    | { readonly urls: readonly RemoteFile[] }
  );

/** DINOv2, from its README: https://github.com/facebookresearch/dinov2 */
const dinov2: readonly WeightEntry[] = (
  [
    ["s", "small", 21],
    ["b", "base", 86],
    ["l", "large", 300],
    ["g", "giant", 1100],
  ] as const
).flatMap(([letter, size, millions]) =>
  [false, true].flatMap((registers): WeightEntry[] => {
    const facts = {
      what: `DINOv2 ViT-${letter === "g" ? "g" : letter.toUpperCase()}/14${registers ? " with registers" : ""}`,
      licence: "Apache-2.0",
      millions,
    };
    const model = `dinov2_vit${letter}14`;
    const file = `${model}${registers ? "_reg4" : ""}_pretrain.pth`;
    const hub = `dinov2-${registers ? "with-registers-" : ""}${size}`;
    return [
      { name: hub, ...facts, repository: `facebook/${hub}` },
      {
        name: `${model}${registers ? "_reg" : ""}`,
        ...facts,
        what: `${facts.what}, original file`,
        urls: [{ url: `https://dl.fbaipublicfiles.com/dinov2/${model}/${file}` }],
      },
    ];
  }),
);

/** DINOv3, from its README: https://github.com/facebookresearch/dinov3 */
const dinov3: readonly WeightEntry[] = (
  [
    ["vits16", "S/16", 21],
    ["vits16plus", "S+/16", 29],
    ["vitb16", "B/16", 86],
    ["vitl16", "L/16", 300],
    ["vith16plus", "H+/16", 840],
    ["vit7b16", "7B/16", 6716],
  ] as const
).map(([model, size, millions]) => ({
  name: `dinov3-${model}`,
  what: `DINOv3 ViT-${size}, web images`,
  licence: "DINOv3 License",
  millions,
  gated: true,
  repository: `facebook/dinov3-${model}-pretrain-lvd1689m`,
}));

/** CLIP; the folder of each original file is its SHA-256: https://github.com/openai/CLIP */
const clip: readonly WeightEntry[] = [
  ...(
    [
      ["base-patch32", "B/32"],
      ["base-patch16", "B/16"],
      ["large-patch14", "L/14"],
      ["large-patch14-336", "L/14 at 336 px"],
    ] as const
  ).map(([size, title]) => ({
    name: `clip-vit-${size}`,
    what: `CLIP ViT-${title}, image and text`,
    licence: "MIT",
    repository: `openai/clip-vit-${size}`,
  })),
  ...(
    [
      ["ViT-B-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"],
      ["ViT-B-16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"],
      ["ViT-L-14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"],
      ["ViT-L-14-336px", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"],
    ] as const
  ).map(([file, sha256]) => ({
    name: `clip_${file.toLowerCase().replaceAll("-", "_")}`,
    what: `CLIP ${file}, original file`,
    licence: "MIT",
    urls: [{ url: `https://openaipublic.azureedge.net/clip/models/${sha256}/${file}.pt`, sha256 }],
  })),
];

/** Of Hugging Face repositories under their own names. */
const others: readonly WeightEntry[] = [
  ["google/siglip-base-patch16-224", "SigLIP B/16 at 224 px, image and text", "Apache-2.0"],
  ["google/siglip-so400m-patch14-384", "SigLIP so400m/14 at 384 px, image and text", "Apache-2.0"],
  ["google/siglip2-base-patch16-224", "SigLIP 2 B/16 at 224 px, image and text", "Apache-2.0"],
  [
    "google/siglip2-so400m-patch14-384",
    "SigLIP 2 so400m/14 at 384 px, image and text",
    "Apache-2.0",
  ],
  ["google/siglip2-large-patch16-256", "SigLIP 2 L/16 at 256 px, image and text", "Apache-2.0"],
  ["facebook/vit-mae-base", "MAE ViT-B/16", "CC-BY-NC-4.0"],
  ["facebook/vit-mae-large", "MAE ViT-L/16", "CC-BY-NC-4.0"],
  ["facebook/vit-mae-huge", "MAE ViT-H/14", "CC-BY-NC-4.0"],
  ["google/vit-base-patch16-224", "ViT-B/16, AugReg, ImageNet-1k classes", "Apache-2.0"],
  ["google/vit-base-patch16-224-in21k", "ViT-B/16, AugReg, ImageNet-21k", "Apache-2.0"],
].map(([repository = "", what = "", licence = ""]) => ({
  name: repository.split("/")[1]!,
  what,
  licence,
  repository,
}));

/** torchvision's classifiers behind LPIPS; the name of a file ends in the first digits of its SHA-256. */
const perceptual: readonly WeightEntry[] = (
  [
    ["vgg16", "VGG16", "397923af"],
    ["alexnet-owt", "AlexNet", "7be5be79"],
    ["squeezenet1_1", "SqueezeNet 1.1", "b8a52dc0"],
  ] as const
).map(([file, title, sha256]) => ({
  name: file.replace("-owt", ""),
  what: `${title}, ImageNet-1k, torchvision`,
  licence: "BSD-3-Clause",
  urls: [{ url: `https://download.pytorch.org/models/${file}-${sha256}.pth`, sha256 }],
}));

/** Inception for FID: https://github.com/mseitzer/pytorch-fid */
const inception: readonly WeightEntry[] = [
  {
    name: "inception-fid",
    what: "Inception of FID (2015-12-05), pytorch-fid's port",
    licence: "Apache-2.0",
    urls: [
      {
        url: "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        sha256: "6726825d",
      },
    ],
  },
];

/** VA-VAE: https://github.com/hustvl/LightningDiT */
const tokenizers: readonly WeightEntry[] = [
  {
    name: "vavae-imagenet256-f16d32-dinov2",
    what: "VA-VAE f16d32 of LightningDiT",
    licence: "MIT",
    repository: "hustvl/vavae-imagenet256-f16d32-dinov2",
    files: ["vavae-imagenet256-f16d32-dinov2.pt"],
  },
];

export const weightEntries: readonly WeightEntry[] = [
  ...dinov2,
  ...dinov3,
  ...clip,
  ...others,
  ...perceptual,
  ...inception,
  ...tokenizers,
];
