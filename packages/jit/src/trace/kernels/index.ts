/**
 * The kernels of tfjs that a graph holds as they are, each with the shape and type of what it makes. Others are
 * recorded as several of these (`compositions/`); our own primitives add theirs in `primitives/`.
 *
 * tfjs checks some shapes in its operations and others only in the kernels of a backend: those are checked here.
 */
import "./creation.ts";
import "./elementwise.ts";
import "./indexing.ts";
import "./products.ts";
import "./reductions.ts";
import "./shapes.ts";
