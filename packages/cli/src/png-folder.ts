/** Folders of PNG files that keep the names of the images that they come from. */
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeFileAtomic } from "@aligntok/checkpoint";
import { type Images, ndarray, rows } from "@aligntok/core";

export interface PngFolder {
  /** Writes a batch `(N, H, W, 3)`, image i under `keys[i]`. */
  write(images: Images, keys: readonly string[]): Promise<void>;
}

export function createPngFolder(folder: string): PngFolder {
  const nameFile = createNames(folder, ".png");
  return {
    async write(images, keys) {
      const { encodePng } = await import("@aligntok/image");
      for (const [i, key] of keys.entries()) {
        const image = ndarray(rows(images, i, i + 1).data, images.shape.slice(1), "uint8");
        const path = nameFile(key);
        await mkdir(dirname(path), { recursive: true });
        await writeFileAtomic(path, await encodePng(image));
      }
    },
  };
}

/**
 * Where the image called `key` goes: below `folder`, with another ending in place of its own, or after it where two
 * images differ in nothing else. No key leads out of the folder, whatever an archive calls its members.
 */
export function createNames(folder: string, ending: string): (key: string) => string {
  const used = new Set<string>();
  return (key) => {
    const parts = key.split(/[\\/]/).filter((part) => !["", ".", ".."].includes(part));
    const full = parts.join("/") || "image";
    const short = full.replace(/\.[a-z0-9]{2,5}$/i, "");
    let name = used.has(short) ? full : short;
    for (let n = 2; used.has(name); n++) name = `${full}-${n}`;
    used.add(name);
    return join(folder, `${name}${ending}`);
  };
}
