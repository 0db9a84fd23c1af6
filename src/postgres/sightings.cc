// SPDX-License-Identifier: Apache-2.0
#include "postgres/sightings.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/status_macros.h"
#include "postgres/schema.h"

namespace sipheal::inline v0_1::internal::postgres {
namespace {

using pq::Parameters;
using pq::Rows;

// The later the more it proves.
constexpr CrashKind kByProof[] = {CrashKind::kSilent, CrashKind::kReported, CrashKind::kProcessGone,
                                  CrashKind::kRestarted};

std::size_t ProofOf(CrashKind kind) {
  return static_cast<std::size_t>(std::find(std::begin(kByProof), std::end(kByProof), kind) -
                                  std::begin(kByProof));
}

// One that cannot be read proves least.
CrashKind KindOf(std::string_view text) {
  for (const CrashKind kind : kByProof) {
    if (ToString(kind) == text) return kind;
  }
  return CrashKind::kSilent;
}

std::string JoinLines(const std::vector<std::string>& lines) {
  std::string text;
  for (std::string line : lines) {
    std::replace(line.begin(), line.end(), '\n', ' ');
    if (!text.empty()) text += '\n';
    text += line;
  }
  return text;
}

std::vector<std::string> SplitLines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return lines;
}

Parameters Names(const std::vector<Incarnation>& incarnations) {
  Parameters::Column instance, life;
  for (const Incarnation& incarnation : incarnations) {
    instance.Text(incarnation.instance);
    life.Text(incarnation.life);
  }
  Parameters parameters;
  parameters.Blobs(instance).Blobs(life);
  return parameters;
}

absl::Status WriteSeen(pq::Transaction& transaction, const std::string& schema,
                       const std::string& observer, const std::vector<CrashEvent>& seen) {
  Parameters::Column instance, life, kind, last_alive, detected, detector, evidence;
  for (const CrashEvent& event : seen) {
    instance.Text(event.incarnation.instance);
    life.Text(event.incarnation.life);
    kind.Text(ToString(event.kind));
    last_alive.Number(event.last_alive.time_since_epoch().count());
    detected.Number(event.detected_at.time_since_epoch().count());
    detector.Text(event.detector);
    evidence.Text(JoinLines(event.evidence));
  }
  Parameters parameters;
  parameters.Blobs(instance)
      .Blobs(life)
      .Texts(kind)
      .Numbers(last_alive)
      .Numbers(detected)
      .Blobs(detector)
      .Blobs(evidence)
      .Blob(observer);
  // Said again, because the connection broke, it is the same sighting.
  return transaction
      .Run(InSchema("INSERT INTO %s.sightings AS s (instance, life, observer, kind, last_alive_us,"
                    " detected_us, detector, evidence)"
                    " SELECT instance, life, $8, kind, last_alive, detected, detector, evidence"
                    " FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::bigint[],"
                    "  $5::bigint[], $6::bytea[], $7::bytea[])"
                    "  AS g (instance, life, kind, last_alive, detected, detector, evidence)"
                    " ORDER BY 1, 2 ON CONFLICT (instance, life, observer) DO UPDATE SET"
                    " seq = CASE WHEN s.withdrawn THEN excluded.seq ELSE s.seq END,"
                    " kind = excluded.kind, last_alive_us = excluded.last_alive_us,"
                    " detected_us = excluded.detected_us, detector = excluded.detector,"
                    " evidence = excluded.evidence, seen_at = clock_timestamp(),"
                    " withdrawn = false",
                    schema),
           parameters)
      .status();
}

// What was agreed is open again for all: whoever has proof of the death, and did not affirm it
// since, has a while to do so. A silence was affirmed all the time by those who are still there.
absl::Status WriteWithdrawn(pq::Transaction& transaction, const std::string& schema,
                            const std::string& observer,
                            const std::vector<Incarnation>& withdrawn) {
  Parameters parameters = Names(withdrawn);
  parameters.Blob(observer);
  return transaction
      .Run(InSchema("UPDATE %s.sightings s SET agreed = false,"
                    " seen_at = CASE WHEN s.kind = 'silent' AND s.observer <> $3 THEN s.seen_at"
                    "  ELSE clock_timestamp() END,"
                    " withdrawn = s.withdrawn OR s.observer = $3"
                    " FROM unnest($1::bytea[], $2::bytea[]) AS g (instance, life)"
                    " WHERE s.instance = g.instance AND s.life = g.life",
                    schema),
           parameters)
      .status();
}

// What lapsed says nothing about what others agreed on.
absl::Status WriteLeft(pq::Transaction& transaction, const std::string& schema,
                       const std::string& observer, const std::vector<Incarnation>& left) {
  Parameters parameters = Names(left);
  parameters.Blob(observer);
  return transaction
      .Run(InSchema("UPDATE %s.sightings s SET agreed = false, withdrawn = true"
                    " FROM unnest($1::bytea[], $2::bytea[]) AS g (instance, life)"
                    " WHERE s.instance = g.instance AND s.life = g.life AND s.observer = $3"
                    "  AND s.kind = 'silent'",
                    schema),
           parameters)
      .status();
}

absl::Status WriteAgreed(pq::Transaction& transaction, const std::string& schema,
                         const std::vector<Incarnation>& agreed) {
  return transaction
      .Run(InSchema("UPDATE %s.sightings s SET agreed = true"
                    " FROM unnest($1::bytea[], $2::bytea[]) AS g (instance, life)"
                    " WHERE s.instance = g.instance AND s.life = g.life AND NOT s.agreed"
                    "  AND NOT s.withdrawn",
                    schema),
           Names(agreed))
      .status();
}

absl::Status WriteStops(pq::Transaction& transaction, const std::string& schema,
                        const std::vector<PlannedStop>& stops) {
  Parameters::Column instance, until;
  for (const PlannedStop& stop : stops) {
    instance.Text(stop.instance);
    until.Number(stop.until.time_since_epoch().count());
  }
  Parameters parameters;
  parameters.Blobs(instance).Numbers(until);
  return transaction
      .Run(InSchema("INSERT INTO %s.planned_stops (instance, until_us)"
                    " SELECT * FROM unnest($1::bytea[], $2::bigint[]) AS g (instance, until_us)"
                    " ORDER BY 1 ON CONFLICT (instance) DO UPDATE SET"
                    " until_us = excluded.until_us, announced_at = clock_timestamp()",
                    schema),
           parameters)
      .status();
}

}  // namespace

absl::Status WriteSightings(pq::Connection& connection, const CallContext& ctx,
                            const std::string& schema, const std::string& observer,
                            const SightingNews& news) {
  pq::Transaction transaction(connection, ctx);
  // Two that write of the same incarnations would otherwise meet at the rows in different orders.
  ABSL_RETURN_IF_ERROR(
      transaction.Run(InSchema("LOCK TABLE %s.sightings IN SHARE ROW EXCLUSIVE MODE", schema))
          .status());
  if (!news.seen.empty()) {
    ABSL_RETURN_IF_ERROR(WriteSeen(transaction, schema, observer, news.seen));
  }
  if (!news.withdrawn.empty()) {
    ABSL_RETURN_IF_ERROR(WriteWithdrawn(transaction, schema, observer, news.withdrawn));
  }
  if (!news.agreed.empty()) {
    ABSL_RETURN_IF_ERROR(WriteAgreed(transaction, schema, news.agreed));
  }
  if (!news.left.empty()) {
    ABSL_RETURN_IF_ERROR(WriteLeft(transaction, schema, observer, news.left));
  }
  if (!news.stops.empty()) ABSL_RETURN_IF_ERROR(WriteStops(transaction, schema, news.stops));
  // Nobody holds sessions of an incarnation that died so long ago, nor counts its sightings.
  ABSL_RETURN_IF_ERROR(transaction
                           .Run(InSchema("DELETE FROM %s.sightings"
                                         " WHERE seen_at < clock_timestamp() - interval '2 days'",
                                         schema))
                           .status());
  Parameters notice;
  notice.Text(kNewsChannel).Text(schema);
  ABSL_RETURN_IF_ERROR(transaction.Run("SELECT pg_notify($1, $2)", notice).status());
  return transaction.Commit();
}

absl::Status AffirmSightings(pq::Connection& connection, const CallContext& ctx,
                             const std::string& schema, const std::string& observer,
                             const std::vector<Incarnation>& incarnations) {
  Parameters parameters = Names(incarnations);
  parameters.Blob(observer);
  return connection
      .Run(ctx,
           InSchema("UPDATE %s.sightings s SET seen_at = clock_timestamp()"
                    " FROM unnest($1::bytea[], $2::bytea[]) AS g (instance, life)"
                    " WHERE s.instance = g.instance AND s.life = g.life AND s.observer = $3"
                    "  AND NOT s.withdrawn",
                    schema),
           parameters)
      .status();
}

absl::StatusOr<std::vector<Sighting>> ReadSightings(pq::Connection& connection,
                                                    const CallContext& ctx,
                                                    const std::string& schema,
                                                    std::chrono::milliseconds window) {
  Parameters parameters;
  parameters.Number(window.count());
  ABSL_ASSIGN_OR_RETURN(
      const Rows rows,
      connection.Run(ctx,
                     InSchema("SELECT instance, life, observer, seq, kind, last_alive_us,"
                              " detected_us, detector, evidence, agreed, withdrawn,"
                              " agreed AND kind IN ('reported', 'process_gone', 'restarted'),"
                              " $1::bigint - floor(1000 * extract(epoch FROM"
                              "  clock_timestamp() - seen_at))::bigint"
                              " FROM %s.sightings ORDER BY seq",
                              schema),
                     parameters));
  std::vector<Sighting> sightings;
  for (int row = 0; row < rows.count(); ++row) {
    const auto text = [&](int column) { return std::string(rows.GetText(row, column)); };
    const auto time = [&](int column) {
      return WallTime(WallTime::duration(rows.GetNumber(row, column)));
    };
    Sighting& one = sightings.emplace_back();
    one.event.incarnation = {text(0), text(1)};
    one.observer = text(2);
    one.seq = rows.GetNumber(row, 3);
    one.event.kind = KindOf(rows.GetText(row, 4));
    one.event.last_alive = time(5);
    one.event.detected_at = time(6);
    one.event.detector = text(7);
    one.event.evidence = SplitLines(rows.GetText(row, 8));
    one.agreed = rows.GetBool(row, 9);
    one.withdrawn = rows.GetBool(row, 10);
    // Who is silent may live: that is believed for as long as somebody is there to say so.
    if (!rows.GetBool(row, 11)) one.counts_for = std::chrono::milliseconds(rows.GetNumber(row, 12));
  }
  return sightings;
}

absl::StatusOr<std::int64_t> ReadLastNumber(pq::Connection& connection, const CallContext& ctx,
                                            const std::string& schema) {
  ABSL_ASSIGN_OR_RETURN(
      const Rows row,
      connection.Run(ctx, InSchema("SELECT last_value FROM %s.sightings_seq", schema)));
  return row.GetNumber(0, 0);
}

absl::StatusOr<std::vector<PlannedStop>> ReadPlannedStops(pq::Connection& connection,
                                                          const CallContext& ctx,
                                                          const std::string& schema) {
  ABSL_ASSIGN_OR_RETURN(
      const Rows rows,
      connection.Run(ctx, InSchema("SELECT instance, until_us FROM %s.planned_stops", schema)));
  std::vector<PlannedStop> stops;
  for (int row = 0; row < rows.count(); ++row) {
    stops.push_back(
        {std::string(rows.GetText(row, 0)), WallTime(WallTime::duration(rows.GetNumber(row, 1)))});
  }
  return stops;
}

CrashEvent MergeSightings(const std::vector<Sighting>& sightings, const std::string& owner) {
  if (sightings.size() == 1 && sightings.front().observer == owner) return sightings.front().event;
  CrashEvent merged = sightings.front().event;
  merged.evidence.clear();
  for (const Sighting& sighting : sightings) {
    const CrashEvent& event = sighting.event;
    if (ProofOf(event.kind) > ProofOf(merged.kind)) {
      merged.kind = event.kind;
      merged.detector = event.detector;
    }
    merged.last_alive = std::max(merged.last_alive, event.last_alive);
    merged.detected_at = std::min(merged.detected_at, event.detected_at);
    for (const std::string& sentence : event.evidence) {
      merged.evidence.push_back(sighting.observer + ": " + sentence);
    }
  }
  return merged;
}

}  // namespace sipheal::inline v0_1::internal::postgres
