import { existsSync, readFileSync } from "node:fs";

const cpuInfo = "/proc/cpuinfo";

/**
 * Whether int8 is less exact here: on x86 processors without VNNI, sums of two products saturate. Told by Linux alone;
 * elsewhere they are taken for recent.
 */
export const int8Saturates =
  process.arch === "x64" && existsSync(cpuInfo) && !readFileSync(cpuInfo, "utf8").includes("vnni");
