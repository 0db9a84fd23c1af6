// SPDX-License-Identifier: Apache-2.0
#include "cli/metrics.h"

#include <algorithm>

namespace sipheal::inline v0_1::cli {

MetricValue* MemoryMetrics::Series(std::string_view name, Labels labels, MetricValue::Kind kind) {
  std::string key(name);
  for (const auto& [label, value] : labels) {
    // Unit separators: no label value can look like another label.
    key.append("\x1f").append(label).append("\x1e").append(value);
  }
  const auto found = series_.find(key);
  if (found != series_.end()) return &found->second;
  if (series_.size() >= kMostSeries) {
    ++dropped_;
    return nullptr;
  }
  MetricValue& series = series_[key];
  series.name = name;
  series.kind = kind;
  for (const auto& [label, value] : labels) series.labels.emplace_back(label, value);
  return &series;
}

void MemoryMetrics::Count(std::string_view name, Labels labels, double delta) {
  internal::MutexLock lock(mutex_);
  if (MetricValue* series = Series(name, labels, MetricValue::Kind::kCounter)) {
    series->value += delta;
  }
}

void MemoryMetrics::Gauge(std::string_view name, Labels labels, double value) {
  internal::MutexLock lock(mutex_);
  if (MetricValue* series = Series(name, labels, MetricValue::Kind::kGauge)) series->value = value;
}

void MemoryMetrics::Observe(std::string_view name, Labels labels, double value) {
  internal::MutexLock lock(mutex_);
  MetricValue* series = Series(name, labels, MetricValue::Kind::kHistogram);
  if (series == nullptr) return;
  series->least = series->count == 0 ? value : std::min(series->least, value);
  series->most = series->count == 0 ? value : std::max(series->most, value);
  series->value += value;
  ++series->count;
}

std::vector<MetricValue> MemoryMetrics::Snapshot() const {
  internal::MutexLock lock(mutex_);
  std::vector<MetricValue> values;
  values.reserve(series_.size() + 1);
  for (const auto& [key, series] : series_) values.push_back(series);
  if (dropped_ > 0) {
    MetricValue dropped;
    dropped.name = "sipheal_metrics_dropped_total";
    dropped.value = static_cast<double>(dropped_);
    values.push_back(dropped);
  }
  return values;
}

}  // namespace sipheal::inline v0_1::cli
