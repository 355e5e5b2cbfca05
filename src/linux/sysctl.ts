import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { CulvertError } from '../errors.ts';

/** Synchronous on purpose: /proc/sys/net shows the namespace of the thread that looks, not of its process. */
export function readSysctl(name: string): string {
  return readFileSync(pathOf(name), 'utf8').trim();
}

export function hasSysctl(name: string): boolean {
  return existsSync(pathOf(name));
}

/** @throws CulvertError `sysctl_refused` where the value does not read back */
export function writeSysctl(name: string, value: string): void {
  writeFileSync(pathOf(name), value);
  const found = readSysctl(name);
  if (found !== value) throw new CulvertError('sysctl_refused', `Cannot set ${name} to ${value}: it is ${found}`);
}

function pathOf(name: string): string {
  return `/proc/sys/${name}`;
}
