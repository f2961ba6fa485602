/** Commits of Hugging Face repositories that weights are taken from by default; of others, what `main` is when pulled. */

export interface Pin {
  readonly revision: string;
  /** Of files at that commit, by name, where it is published besides by the hub. */
  readonly sha256?: Readonly<Record<string, string>>;
}

export const pins: Readonly<Record<string, Pin>> = {
  "facebook/dinov2-small": {
    revision: "ed25f3a31f01632728cabb09d1542f84ab7b0056",
    sha256: {
      "model.safetensors": "ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
    },
  },
  "facebook/dinov2-base": { revision: "f9e44c814b77203eaa57a6bdbbd535f21ede1415" },
  "facebook/dinov2-large": { revision: "47b73eefe95e8d44ec3623f8890bd894b6ea2d6c" },
  "facebook/dinov2-giant": { revision: "611a9d42f2335e0f921f1e313ad3c1b7178d206d" },
  "facebook/dinov2-with-registers-large": { revision: "e4c89a4e05589de9b3e188688a303d0f3c04d0f3" },
  "facebook/dinov3-vits16-pretrain-lvd1689m": {
    revision: "114c1379950215c8b35dfcd4e90a5c251dde0d32",
  },
  "facebook/dinov3-vitl16-pretrain-lvd1689m": {
    revision: "ea8dc2863c51be0a264bab82070e3e8836b02d51",
  },
  "openai/clip-vit-base-patch32": { revision: "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268" },
  "openai/clip-vit-base-patch16": { revision: "57c216476eefef5ab752ec549e440a49ae4ae5f3" },
  "openai/clip-vit-large-patch14": { revision: "32bd64288804d66eefd0ccbe215aa642df71cc41" },
  "openai/clip-vit-large-patch14-336": { revision: "ce19dc912ca5cd21c8a653c79e251e808ccabcd1" },
  "google/siglip-base-patch16-224": { revision: "7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed" },
  "google/siglip-so400m-patch14-384": { revision: "9fdffc58afc957d1a03a25b10dba0329ab15c2a3" },
  "google/siglip2-base-patch16-224": { revision: "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2" },
  "google/siglip2-large-patch16-256": { revision: "787800c8990e6f058423089178e718139608408c" },
  "google/siglip2-so400m-patch14-384": { revision: "e8e487298228002f3d8a82e0cd5c8ea9c567f57f" },
  "facebook/vit-mae-base": { revision: "25b184bea5538bf5c4c852c79d221195fdd2778d" },
  "facebook/vit-mae-large": { revision: "142cb8c25e1b1bc1769997a919aa1b5a2345a6b8" },
  "google/vit-base-patch16-224": { revision: "3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3" },
  "google/vit-base-patch16-224-in21k": {
    revision: "b4569560a39a0f1af58e3ddaf17facf20ab919b0",
    sha256: {
      "model.safetensors": "fd4e1169c7aa6c2dbfa8a6448be13b35abc0ee256190857c90009d12c094619b",
    },
  },
  "google/t5-v1_1-base": { revision: "b5fc947a416ea3cb079532cb3c2bbadeb7f800fc" },
  "google/t5-v1_1-xxl": { revision: "3db67ab1af984cf10548a73467f0e5bca2aaaeb2" },
  "stabilityai/sd-vae-ft-mse": {
    revision: "31f26fdeee1355a5c34592e401dd41e45d25a493",
    sha256: {
      "diffusion_pytorch_model.safetensors":
        "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
    },
  },
  "madebyollin/taesd": { revision: "614f76814bbe30edbe2e627ace1c2234c81a2c0e" },
  "black-forest-labs/FLUX.1-schnell": { revision: "741f7c3ce8b383c54771c7003378a50191e9efe9" },
};
