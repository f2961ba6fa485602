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

/**
 * DINOv2, from its README: https://github.com/facebookresearch/dinov2. SHA-256 of the original files without and with
 * registers, as the conversion scripts of https://github.com/finegrain-ai/refiners expect them.
 */
const dinov2: readonly WeightEntry[] = [
  {
    letter: "s",
    size: "small",
    millions: 21,
    plain: "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    registers: "f433177089a681826f849f194ece3bb48f4d63fb38d32fc837e3dc7a4e5641fb",
  },
  {
    letter: "b",
    size: "base",
    millions: 86,
    plain: "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    registers: "73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71",
  },
  {
    letter: "l",
    size: "large",
    millions: 300,
    plain: "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
    registers: "36e4deffbaef061a2576705b0c36f93621e2ae20bf6274694821b0b492551b51",
  },
  {
    letter: "g",
    size: "giant",
    millions: 1100,
    plain: "baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3",
    registers: "746ecb8c6301c645c5c855be91687d274587d6e48fdaec4a729753160b34a283",
  },
].flatMap(({ letter, size, millions, ...hashes }) =>
  (["plain", "registers"] as const).flatMap((kind): WeightEntry[] => {
    const registers = kind === "registers";
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
        urls: [
          { url: `https://dl.fbaipublicfiles.com/dinov2/${model}/${file}`, sha256: hashes[kind] },
        ],
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
  ["google/siglip-large-patch16-256", "SigLIP L/16 at 256 px, image and text", "Apache-2.0"],
  ["google/vit-large-patch16-224-in21k", "ViT-L/16, AugReg, ImageNet-21k", "Apache-2.0"],
  ["google/t5-v1_1-small", "T5 v1.1 small", "Apache-2.0"],
  ["google/t5-v1_1-base", "T5 v1.1 base", "Apache-2.0"],
  ["google/t5-v1_1-large", "T5 v1.1 large", "Apache-2.0"],
  ["google/t5-v1_1-xl", "T5 v1.1 XL", "Apache-2.0"],
  ["google/t5-v1_1-xxl", "T5 v1.1 XXL", "Apache-2.0"],
  ["stabilityai/sd-vae-ft-mse", "VAE of Stable Diffusion, tuned with squared error", "MIT"],
  ["madebyollin/taesd", "TAESD, tiny autoencoder of Stable Diffusion", "MIT"],
  ["madebyollin/taesdxl", "TAESDXL, tiny autoencoder of SDXL", "MIT"],
  ["madebyollin/taesd3", "TAESD3, tiny autoencoder of Stable Diffusion 3", "MIT"],
  ["madebyollin/taef1", "TAEF1, tiny autoencoder of FLUX.1", "MIT"],
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

/** The linear layers of LPIPS 0.1: https://github.com/richzhang/PerceptualSimilarity */
const lpips: readonly WeightEntry[] = (
  [
    ["vgg", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"],
    ["alex", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"],
    ["squeeze", "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"],
  ] as const
).map(([net, sha256]) => ({
  name: `lpips-${net}`,
  what: `LPIPS 0.1, linear layers over ${net}`,
  licence: "BSD-2-Clause",
  urls: [
    {
      url: `https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/${net}.pth`,
      sha256,
    },
  ],
}));

/** MAE, from its README: https://github.com/facebookresearch/mae */
const mae: readonly WeightEntry[] = (["base", "large", "huge"] as const).map((size) => ({
  name: `mae_pretrain_vit_${size}`,
  what: `MAE ViT-${size}, encoder, original file`,
  licence: "CC-BY-NC-4.0",
  urls: [{ url: `https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_${size}.pth` }],
}));

/** Inception for FID: https://github.com/mseitzer/pytorch-fid, https://github.com/toshas/torch-fidelity */
const inception: readonly WeightEntry[] = (
  [
    ["inception-fid", "pytorch-fid's", "mseitzer/pytorch-fid", "fid_weights/pt_inception"],
    ["inception-fidelity", "torch-fidelity's", "toshas/torch-fidelity", "v0.2.0/weights-inception"],
  ] as const
).map(([name, whose, repository, file]) => ({
  name,
  what: `Inception of FID (2015-12-05), ${whose} port`,
  licence: "Apache-2.0",
  urls: [
    {
      url: `https://github.com/${repository}/releases/download/${file}-2015-12-05-6726825d.pth`,
      sha256: "6726825d",
    },
  ],
}));

/** VA-VAE (https://github.com/hustvl/LightningDiT) and the autoencoder of FLUX.1 in its original names. */
const tokenizers: readonly WeightEntry[] = [
  {
    name: "vavae-imagenet256-f16d32-dinov2",
    what: "VA-VAE f16d32 of LightningDiT",
    licence: "MIT",
    repository: "hustvl/vavae-imagenet256-f16d32-dinov2",
    files: ["vavae-imagenet256-f16d32-dinov2.pt"],
  },
  {
    name: "flux-ae",
    what: "autoencoder of FLUX.1 schnell",
    licence: "Apache-2.0",
    repository: "black-forest-labs/FLUX.1-schnell",
    files: ["ae.safetensors"],
  },
];

export const weightEntries: readonly WeightEntry[] = [
  ...dinov2,
  ...dinov3,
  ...clip,
  ...others,
  ...perceptual,
  ...lpips,
  ...mae,
  ...inception,
  ...tokenizers,
];
