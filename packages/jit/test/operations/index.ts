import { convolutions } from "./convolutions.ts";
import { elementwise } from "./elementwise.ts";
import { images } from "./images.ts";
import { indexing } from "./indexing.ts";
import { networks } from "./networks.ts";
import type { Operation } from "./operation.ts";
import { products } from "./products.ts";
import { reductions } from "./reductions.ts";
import { shapes } from "./shapes.ts";

/** Every operation that is tried, by family. */
export const families: Readonly<Record<string, readonly Operation[]>> = {
  Elementwise: elementwise,
  "Along axes": reductions,
  Shapes: shapes,
  Indexing: indexing,
  Products: products,
  "Images, (N, H, W, C)": images,
  "Primitives on images, (N, C, H, W)": convolutions,
  "Primitives on vectors and tokens": networks,
};
