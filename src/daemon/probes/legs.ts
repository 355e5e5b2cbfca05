/** A link that leads to other hosts: of the way in clear there are two, of which a host is reached by one. */
export type Leg = 'even' | 'odd' | 'wrapped' | 'direct';

/** A descriptor of a UDP socket for each. */
export type ProbeDescriptors = Readonly<Record<Leg, number>>;
