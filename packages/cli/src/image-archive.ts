/** Images as `.npz`, the format of the ADM evaluation suite: `arr_0` uint8 (N, H, W, 3), `arr_1` int32 labels (N). */
import { createNpzWriter } from "@aligntok/checkpoint";
import type { Images } from "@aligntok/core";

export interface ImageArchive {
  /** Appends images `(n, H, W, 3)`. */
  append(images: Images): Promise<void>;
  /** Writes labels and directory; the file takes its name only now. */
  finish(labels: Int32Array): Promise<void>;
  /** Removes what was written, unless it is finished. */
  discard(): Promise<void>;
}

/** Opens `path` for images of a known shape `(N, H, W, 3)`. */
export async function createImageArchive(
  path: string,
  shape: readonly number[],
): Promise<ImageArchive> {
  const file = await createNpzWriter(path);
  await file.begin("arr_0", { dtype: "uint8", shape });
  return {
    append: ({ data }) => file.append(data as Uint8Array),
    async finish(labels) {
      await file.begin("arr_1", { dtype: "int32", shape: [labels.length] });
      await file.append(labels);
      await file.finish();
    },
    discard: file.discard,
  };
}
