export function encode(value: unknown): Uint8Array<ArrayBuffer>;
