import type { SteeredCourse } from '../../../mesh/mesh.ts';
import type { NewEvent } from '../../../sandbox/event.ts';

/** What people are to know of a host that is sent to in clear: whether it is wrapped, where that has changed. */
export function wrapNews(
  name: string,
  former: SteeredCourse | undefined,
  { sends, wraps }: SteeredCourse,
): NewEvent | undefined {
  if (sends !== 'clear' || wraps === former?.wraps) return undefined;
  const message = wraps
    ? `What goes in clear to host ${name} is wrapped: as it is nothing comes back, though its address is one of this link; see whether both uplinks have one prefix length, and whether the network lets sandboxes’ addresses pass`
    : `What goes in clear to host ${name} goes as it is again`;
  return { type: wraps ? 'mesh.wrapped' : 'mesh.unwrapped', message };
}
