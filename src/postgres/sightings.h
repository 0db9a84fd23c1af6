// SPDX-License-Identifier: Apache-2.0
// The tables in which controllers tell each other of deaths and planned stops, and how several
// sightings of one death become one report.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pq/connection.h"
#include "sipheal/model/crash_event.h"

namespace sipheal::inline v0_1::internal::postgres {

// What one controller says of one incarnation.
struct Sighting {
  CrashEvent event;
  std::string observer;
  std::int64_t seq = 0;  // rises with each death that is written
  // Until it must have been affirmed, from when it was read; none: proof that was agreed on.
  std::optional<std::chrono::milliseconds> counts_for;
  bool agreed = false;
  bool withdrawn = false;
};

struct PlannedStop {
  std::string instance;
  WallTime until{};
};

// What one controller has to say, in one transaction; the others are notified of it.
struct SightingNews {
  std::vector<CrashEvent> seen;
  std::vector<Incarnation> withdrawn;
  std::vector<Incarnation> agreed;
  std::vector<Incarnation> left;  // by this controller's former self; lapsed
  std::vector<PlannedStop> stops;

  bool empty() const {
    return seen.empty() && withdrawn.empty() && agreed.empty() && left.empty() && stops.empty();
  }
};

// The channel of LISTEN; the payload is the schema.
inline constexpr char kNewsChannel[] = "sipheal_controllers";

absl::Status WriteSightings(pq::Connection& connection, const CallContext& ctx,
                            const std::string& schema, const std::string& observer,
                            const SightingNews& news);
// Says that these sightings still stand.
absl::Status AffirmSightings(pq::Connection& connection, const CallContext& ctx,
                             const std::string& schema, const std::string& observer,
                             const std::vector<Incarnation>& incarnations);
absl::StatusOr<std::vector<Sighting>> ReadSightings(pq::Connection& connection,
                                                    const CallContext& ctx,
                                                    const std::string& schema,
                                                    std::chrono::milliseconds window);
// The number that the last sighting got; an older backup of the database has a lower one.
absl::StatusOr<std::int64_t> ReadLastNumber(pq::Connection& connection, const CallContext& ctx,
                                            const std::string& schema);
absl::StatusOr<std::vector<PlannedStop>> ReadPlannedStops(pq::Connection& connection,
                                                          const CallContext& ctx,
                                                          const std::string& schema);

// Of at least one sighting of one incarnation. `owner`: who reports; a report of its own sighting
// alone is that sighting.
CrashEvent MergeSightings(const std::vector<Sighting>& sightings, const std::string& owner);

}  // namespace sipheal::inline v0_1::internal::postgres
