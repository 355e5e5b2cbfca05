import { constants } from 'node:os';

/** Names that errno.h defines as others. */
const ALIASES = ['EWOULDBLOCK', 'ENOTSUP'];

const names = new Map(
  Object.entries(constants.errno)
    .filter(([name]) => !ALIASES.includes(name))
    .map(([name, value]) => [value, name]),
);

/** The name in errno.h, such as `EEXIST`; the bare number where the runtime knows no name for it. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}
