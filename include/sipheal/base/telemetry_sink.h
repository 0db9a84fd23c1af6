// SPDX-License-Identifier: Apache-2.0
// TelemetrySink receives sipheal's counters and timings; the host maps them to Prometheus,
// OpenTelemetry or what it has. Names are Prometheus style with base units
// (`sipheal_recovery_stage_seconds`); labels come from closed lists, never Call-IDs, numbers or
// tags.
#pragma once

#include <initializer_list>
#include <memory>
#include <string_view>
#include <utility>

#include "sipheal/export.h"

namespace sipheal::inline v0_1 {

// Thread-safe; must be quick and must not throw.
class SIPHEAL_EXPORT TelemetrySink {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  TelemetrySink(const TelemetrySink&) = delete;
  TelemetrySink& operator=(const TelemetrySink&) = delete;
  virtual ~TelemetrySink();

  // Adds `delta` (>= 0) to a counter.
  virtual void Count(std::string_view name, Labels labels, double delta) = 0;
  // Sets a gauge.
  virtual void Gauge(std::string_view name, Labels labels, double value) = 0;
  // Adds one observation to a histogram.
  virtual void Observe(std::string_view name, Labels labels, double value) = 0;

 protected:
  TelemetrySink() = default;
};

// Drops everything.
SIPHEAL_EXPORT std::shared_ptr<TelemetrySink> NullTelemetrySink();

}  // namespace sipheal::inline v0_1
