/** Kernels of tfjs that are recorded as several operations: engines need no form of them. */
import "./bins.ts";
import "./blocks.ts";
import "./einsum.ts";
import "./fused.ts";
import "./images.ts";
import "./mathematics.ts";
