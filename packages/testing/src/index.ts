export { writePytorch } from "./pytorch-file.ts";
export { sharedData } from "./shared-data.ts";
