//! The local pod: namespaces, mounts, and the part of the kubelet that matters for order.
