import type { Leg } from '../../mesh/way.ts';

/** A descriptor of a UDP socket for each. */
export type ProbeDescriptors = Readonly<Record<Leg, number>>;
