"""From a transducer and an anatomy to the heat that each focus deposits per watt."""
