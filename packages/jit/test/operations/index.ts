import { convolutions } from "./convolutions.ts";
import { elementwise } from "./elementwise.ts";
import { images } from "./images.ts";
import { indexing } from "./indexing.ts";
import { products } from "./products.ts";
import { reductions } from "./reductions.ts";
import { shapes } from "./shapes.ts";

/** Every operation that is tried, by family. */
export const families = {
  elementwise,
  reductions,
  shapes,
  indexing,
  products,
  images,
  convolutions,
};
