/**
 * Gradients of the tfjs kernels that the graph knows. tfjs-core alone registers none; its own live in
 * the union package, which is six times the size. The registry is process-wide.
 */
import "./elementwise.ts";
import "./indexing.ts";
import "./products.ts";
import "./reductions.ts";
import "./shapes.ts";
