import type { Graph } from "../graph/graph.ts";
import { shareSubexpressions } from "./common-subexpressions.ts";
import { removeDeadCode } from "./dead-code.ts";
import { fuse } from "./fuse.ts";
import { growIslands } from "./islands.ts";
import { recompute } from "./recompute.ts";
import { simplify } from "./simplify.ts";

/** Every pass in order. Each is a function from graph to graph that leaves the results as they are. */
export function optimize(graph: Graph): Graph {
  // Before equal expressions are shared, which would undo it but for the waiting inputs of the copies.
  let current = removeDeadCode(recompute(graph));
  current = growIslands(simplify(current));
  // One round exposes work for the next; graphs settle after two or three.
  for (let size = Number.POSITIVE_INFINITY; current.nodes.length < size; ) {
    size = current.nodes.length;
    current = removeDeadCode(shareSubexpressions(simplify(current)));
  }
  return removeDeadCode(fuse(current));
}
