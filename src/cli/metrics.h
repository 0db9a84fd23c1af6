// SPDX-License-Identifier: Apache-2.0
// Counts telemetry in memory, for `sipheal status`.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "sipheal/base/telemetry_sink.h"

namespace sipheal::inline v0_1::cli {

struct MetricValue {
  enum class Kind { kCounter, kGauge, kHistogram };
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;
  Kind kind = Kind::kCounter;
  double value = 0;  // of a counter or gauge; the sum of a histogram
  std::uint64_t count = 0;
  double least = 0;
  double most = 0;
};

class MemoryMetrics final : public TelemetrySink {
 public:
  // More label sets than this are a mistake of the caller; further ones are dropped and counted
  // as sipheal_metrics_dropped_total.
  static constexpr std::size_t kMostSeries = 2'000;

  void Count(std::string_view name, Labels labels, double delta) override;
  void Gauge(std::string_view name, Labels labels, double value) override;
  void Observe(std::string_view name, Labels labels, double value) override;

  // Ordered by name, then labels.
  std::vector<MetricValue> Snapshot() const;

 private:
  MetricValue* Series(std::string_view name, Labels labels, MetricValue::Kind kind)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable internal::Mutex mutex_;
  std::map<std::string, MetricValue> series_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace sipheal::inline v0_1::cli
