// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "homer/options.h"
#include "homer/rounds.h"
#include "pq/pool.h"
#include "sipheal/adapters/homer.h"

namespace sipheal::inline v0_1 {
namespace {

using internal::Turnstile;
using internal::homer::Gatherer;
using internal::homer::Row;
using internal::homer::Window;
namespace pq = internal::pq;

// One table's rows (heplify-server's database/postgres.go and rotator/pgfiles.go). Numbers stay
// text: a cast would fail the whole statement for one damaged row. A TCP buffer is filed under its
// first message's Call-ID; the packet's correlation id tells which message it was sent for.
constexpr char kSelect[] =
    "SELECT sid::text, id::int8, raw::text, protocol_header->>'srcIp', protocol_header->>'srcPort',"
    " protocol_header->>'dstIp', protocol_header->>'dstPort', protocol_header->>'protocol',"
    " protocol_header->>'captureId', protocol_header->>'timeSeconds',"
    " protocol_header->>'timeUseconds', protocol_header->>'payloadType'"
    " FROM %s"
    " WHERE (sid = ANY($1::text[]) OR protocol_header->>'correlation_id' = ANY($1::text[]))"
    " AND create_date >= timestamptz 'epoch' + $2::int8 * interval '1 microsecond'"
    " AND create_date < timestamptz 'epoch' + $3::int8 * interval '1 microsecond'";

constexpr char kCalls[] = "hep_proto_1_call";
constexpr char kOthers[] = "hep_proto_1_default";

std::int64_t Number(const pq::Rows& rows, int row, int column, std::int64_t otherwise) {
  const std::string_view text = rows.IsNull(row, column) ? "" : rows.GetText(row, column);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number >= 0 ? number
                                                                                 : otherwise;
}

std::string_view Text(const pq::Rows& rows, int row, int column) {
  return rows.IsNull(row, column) ? std::string_view() : rows.GetText(row, column);
}

class SqlSource final : public internal::homer::Source {
 public:
  SqlSource(const HomerSqlOptions& options, const Clock& clock)
      : options_(options),
        pool_({.dsn = options.dsn, .connect_timeout = options.connect_timeout, .clock = &clock},
              options.connections) {}

  absl::StatusOr<std::unordered_set<std::string>> Ask(const CallContext& ctx,
                                                      const std::vector<std::string>& call_ids,
                                                      const Window& window,
                                                      Gatherer& gatherer) override {
    for (std::size_t at = 0; at < call_ids.size(); at += options_.batch) {
      pq::Parameters::Column ids;
      const std::size_t end = std::min(call_ids.size(), at + options_.batch);
      for (std::size_t i = at; i < end; ++i) ids.Text(call_ids[i]);
      pq::Parameters parameters;
      parameters.Texts(ids)
          .Number(window.from.time_since_epoch().count())
          .Number(window.to.time_since_epoch().count());
      ABSL_ASSIGN_OR_RETURN(const pq::Rows rows, Run(ctx, sql_, parameters));
      ABSL_RETURN_IF_ERROR(Take(rows, gatherer));
    }
    // PostgreSQL says when it failed.
    return std::unordered_set<std::string>(call_ids.begin(), call_ids.end());
  }

  std::string WhyNotBelieved() const override { return "HOMER's database gave no answer"; }

  absl::Status Check(const CallContext& ctx, const Window& window) {
    Gatherer gatherer({}, options_.read.max_rows, options_.read.max_bytes);
    return Ask(ctx, {"sipheal-check"}, window, gatherer).status();
  }

 private:
  absl::StatusOr<pq::Rows> Run(const CallContext& ctx, const std::string& sql,
                               const pq::Parameters& parameters) {
    for (;;) {
      ABSL_ASSIGN_OR_RETURN(const auto use,
                            pool_.Take(ctx, Turnstile::Urgency::kNormal, "HOMER: read"));
      absl::StatusOr<pq::Rows> rows = use->Run(ctx, sql, parameters);
      // It was opened in another life of the server: only a new one tells how the server is.
      if (absl::IsUnavailable(rows.status()) && use->broken() && !use.fresh()) continue;
      if (absl::IsNotFound(rows.status()) || absl::IsFailedPrecondition(rows.status()) ||
          absl::IsInvalidArgument(rows.status()) || absl::IsInternal(rows.status())) {
        return absl::UnavailableError(absl::StrFormat(
            "HOMER's tables cannot be read: %s: is `dsn` heplify-server's data database "
            "(homer_data)?",
            std::string(rows.status().message())));
      }
      return rows;
    }
  }

  static absl::Status Take(const pq::Rows& rows, Gatherer& gatherer) {
    for (int i = 0; i < rows.count(); ++i) {
      Row row;
      row.sid = Text(rows, i, 0);
      row.id = rows.GetNumber(i, 1);
      row.raw = Text(rows, i, 2);
      row.source_ip = Text(rows, i, 3);
      row.source_port = static_cast<std::uint16_t>(Number(rows, i, 4, 0));
      row.destination_ip = Text(rows, i, 5);
      row.destination_port = static_cast<std::uint16_t>(Number(rows, i, 6, 0));
      row.protocol = static_cast<int>(std::min<std::int64_t>(Number(rows, i, 7, 0), 255));
      row.agent = Text(rows, i, 8);
      const std::int64_t seconds = Number(rows, i, 9, 0);
      if (seconds < 100'000'000'000) {
        row.time_us = seconds * 1'000'000 + std::min<std::int64_t>(Number(rows, i, 10, 0), 999'999);
      }
      row.payload_type = static_cast<int>(std::min<std::int64_t>(Number(rows, i, 11, 1), 255));
      ABSL_RETURN_IF_ERROR(gatherer.CountBytes(row.raw.size()));
      ABSL_RETURN_IF_ERROR(gatherer.Add(row));
    }
    return absl::OkStatus();
  }

  const HomerSqlOptions options_;
  const std::string sql_ =
      absl::StrFormat(kSelect, kCalls) + " UNION ALL " + absl::StrFormat(kSelect, kOthers);
  pq::ConnectionPool pool_;
};

class HomerSqlCapture final : public SipCapture {
 public:
  explicit HomerSqlCapture(const HomerSqlOptions& options)
      : read_(options.read),
        clock_(options.clock != nullptr ? *options.clock : SystemClock()),
        source_(options, clock_) {}

  absl::StatusOr<std::vector<DialogCapture>> Fetch(const CallContext& ctx,
                                                   const FetchParams& params) override {
    return internal::homer::FetchInRounds(ctx, params, read_, clock_, source_);
  }

  absl::Status Check(const CallContext& ctx) {
    const WallTime now = clock_.Now();
    return source_.Check(ctx, {now - read_.lookback, now + std::chrono::minutes(10)});
  }

 private:
  const HomerReadOptions read_;
  const Clock& clock_;
  SqlSource source_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<SipCapture>> MakeHomerSqlCapture(HomerSqlOptions options) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  return std::make_shared<HomerSqlCapture>(options);
}

absl::Status CheckHomerSql(const CallContext& ctx, HomerSqlOptions options) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  return HomerSqlCapture(options).Check(ctx);
}

}  // namespace sipheal::inline v0_1
