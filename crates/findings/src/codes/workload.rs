//! NCR04xx: finding and editing workloads.

codes! {
    400;
    NO_CONTAINERS = 401, "Pod without containers",
        "A selected workload has a pod specification without containers.",
        "Give the pod template at least one container.";
}
