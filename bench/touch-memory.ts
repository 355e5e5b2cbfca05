/*
 * Writes to so many bytes of memory, `touch-memory.ts BYTES`, and ends: a virtual machine pays for each page that it has
 * not used since it was started, and pays on behalf of whoever happens to come first.
 */

const PIECE_BYTES = 64 * 1024 * 1024;

const bytes = Number(process.argv[2]);
const pieces: Buffer[] = [];
while (pieces.length * PIECE_BYTES < bytes) pieces.push(Buffer.allocUnsafeSlow(PIECE_BYTES).fill(1));
