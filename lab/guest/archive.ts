/** linux/stat.h */
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFCHR = 0o020000;

/** What an initramfs holds; paths have no leading slash, and a folder comes before what is in it. */
export type Entry =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly data: Buffer; readonly executable?: boolean }
  | { readonly kind: 'character device'; readonly path: string; readonly major: number; readonly minor: number };

/**
 * An initramfs, root's from top to bottom, piece by piece: a cpio archive of the "newc" kind
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
export function initramfs(entries: readonly Entry[]): Buffer[] {
  const trailer = record({ mode: 0, path: 'TRAILER!!!' });
  return [...entries.flatMap((entry, index) => record(fieldsOf(entry, index + 1))), ...trailer];
}

type Fields = {
  readonly path: string;
  readonly mode: number;
  readonly inode?: number;
  readonly data?: Buffer;
  readonly major?: number;
  readonly minor?: number;
};

function fieldsOf(entry: Entry, inode: number): Fields {
  const { path } = entry;
  switch (entry.kind) {
    case 'folder':
      return { path, inode, mode: S_IFDIR | 0o755 };
    case 'file':
      return { path, inode, mode: S_IFREG | (entry.executable === true ? 0o755 : 0o644), data: entry.data };
    case 'character device':
      return { path, inode, mode: S_IFCHR | 0o600, major: entry.major, minor: entry.minor };
  }
}

function record({ path, mode, inode = 0, data = Buffer.alloc(0), major = 0, minor = 0 }: Fields): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const links = 1;
  // ino mode uid gid nlink mtime filesize maj min rmaj rmin namesize check
  const numbers = [inode, mode, 0, 0, links, 0, data.length, 0, 0, major, minor, name.length, 0];
  const header = `070701${numbers.map((number) => number.toString(16).padStart(8, '0')).join('')}`;
  return [...padded(Buffer.concat([Buffer.from(header), name])), ...padded(data)];
}

/** To a multiple of four bytes. */
function padded(data: Buffer): Buffer[] {
  return [data, Buffer.alloc(-data.length & 3)];
}
