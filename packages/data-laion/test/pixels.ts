import { ndarray } from "@aligntok/core";
import { encodePng } from "@aligntok/image";

/** A PNG whose pixels differ from place to place and from image to image. */
export function encodeTestImage(index: number, height: number, width: number): Promise<Uint8Array> {
  const data = Uint8Array.from(
    { length: height * width * 3 },
    (_, i) => (index * 37 + i * 5) % 256,
  );
  return encodePng(ndarray(data, [height, width, 3], "uint8"));
}
