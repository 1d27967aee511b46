export function decode(buffer: ArrayBuffer, options?: Record<string, number>): unknown;
