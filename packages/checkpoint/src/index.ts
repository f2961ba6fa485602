export { writeFileAtomic } from "./atomic-file.ts";
export { castFloats, type FloatDType } from "./cast.ts";
export { type Checkpoint, type CheckpointFormat, openCheckpoint } from "./checkpoint.ts";
export { createGrowingFile, type GrowingFile } from "./growing-file.ts";
export { joinRows } from "./lazy-array.ts";
export { mapSafetensors } from "./mapped-safetensors.ts";
export { parseNpy, readNpy, serializeNpy, writeNpy } from "./npy.ts";
export { formatNpyHeader, type NpyHeader } from "./npy-header.ts";
export { createNpzWriter, type NpzWriter, readNpyHeader, readNpz, writeNpz } from "./npz.ts";
export { loadParameters } from "./parameters.ts";
export type { PickledObject, PickleValue } from "./pickle.ts";
export {
  type Field as ProtobufField,
  type Message as ProtobufMessage,
  readFields as readProtobufFields,
  readText as readProtobufText,
} from "./protobuf-reader.ts";
export { readPyTorch } from "./pytorch.ts";
export { locateWeights } from "./registry/locate.ts";
export { type PulledWeights, type PullOptions, pullWeights } from "./registry/pull.ts";
export {
  type ListedFile,
  type ListedWeights,
  listWeights,
  resolveWeights,
} from "./registry/resolve.ts";
export {
  parseSafetensors,
  readSafetensors,
  type Safetensors,
  serializeSafetensors,
  type WriteSafetensorsOptions,
  writeSafetensors,
} from "./safetensors.ts";
export { type ShardOptions, writeShardedSafetensors } from "./sharded.ts";
export type { WriteOptions } from "./write-progress.ts";
export {
  listZipMembers,
  locateZipMember,
  readZipMember,
  streamZipMember,
  type ZipMember,
} from "./zip.ts";
