/* log/kafka_partition.h - which partition of a topic a key belongs to: as Java's default partitioner says, so that everybody
 * who writes a topic agrees. */
#ifndef PENSTOCK_LOG_KAFKA_PARTITION_H
#define PENSTOCK_LOG_KAFKA_PARTITION_H

#include "base/span.h"

/* MurmurHash2 of 32 bits with the seed 0x9747b28c. */
uint32_t kafka_murmur2(struct span key);

/* partitions > 0. */
static inline uint32_t kafka_partition(struct span key, uint32_t partitions)
{
    return (kafka_murmur2(key) & 0x7fffffff) % partitions;
}

#endif
