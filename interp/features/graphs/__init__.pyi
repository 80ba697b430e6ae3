from interp.features.graphs.attribution_graph import AttributionGraph as AttributionGraph
from interp.features.graphs.graph import graph as graph
from interp.features.graphs.influence import Node as Node
